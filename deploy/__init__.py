"""What is put beside the code to run it: configuration of other programs, and what generates it."""
