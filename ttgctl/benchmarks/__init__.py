"""What this project is measured by, side by side with the raw clients, Celery and Dramatiq."""
