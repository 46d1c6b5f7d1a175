"""Errors, checks, files, serialization, schedules, seeding, the logger and devices, for all other packages."""
