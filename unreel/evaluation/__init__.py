"""From an encoder and labelled videos to figures, each with the protocol it was measured under."""
