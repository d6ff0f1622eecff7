"""What commands say of themselves: examples, completion, help that is kept."""
