"""The same network in another form: exported files, and what is published."""
