"""What an operator does with a server: each test starts programs as an operator would."""
