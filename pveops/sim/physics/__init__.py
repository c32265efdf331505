"""What follows from state and time: load, memory, growth, durations. Functions only; nothing here changes state."""
