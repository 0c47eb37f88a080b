"""The `vldb` command: what an administrator does to the volume location database as a whole."""
