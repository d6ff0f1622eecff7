"""What unreel can be told to do, one function a verb; the command line calls these functions and prints."""
