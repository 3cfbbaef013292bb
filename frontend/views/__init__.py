"""The dashboard's pages and the sections they are made of."""
