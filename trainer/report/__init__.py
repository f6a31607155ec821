"""What a person decides from: the run's report, and two runs side by side."""
