"""OpenAFS's own database file, vldb.DB0: read into rows, written from rows, and what it cannot hold kept beside it."""
