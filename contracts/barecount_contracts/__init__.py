"""What everyone may rely on: topics, messages, permissions, problems."""
