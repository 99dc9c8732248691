"""Pure: what a task is, what it gives, how it can fail, and where its data lies. No IO."""
