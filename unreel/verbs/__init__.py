"""What unreel does, one function a verb; the command line parses, calls these functions and prints."""
