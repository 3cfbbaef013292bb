"""The words of `./run` by subject: what each takes, what its help says, and which module does the work.

The work is imported when a word is called, so that `./run --help` waits for none of it.
"""
