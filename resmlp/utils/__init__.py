"""What every room stands on: errors, checks, files, serialization, schedules, seeding, the logger, devices."""
