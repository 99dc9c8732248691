"""The barecount command."""
