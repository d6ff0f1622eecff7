"""The browser of this machine, where there is a screen."""

import os
import sys
import threading
import webbrowser


def open_browser(url: str) -> None:
    """Open the browser without waiting for it, where there is a screen; text browsers would take the terminal."""
    has_screen = sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if has_screen:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
