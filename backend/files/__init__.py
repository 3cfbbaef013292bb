"""Files of rows: taken in while they stream, recognised by content, answered in blocks of bounded memory.

pyarrow and what reads spreadsheets are imported when the first file comes: an API that answers single requests does
not carry them.
"""
