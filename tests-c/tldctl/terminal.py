# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""terminal.py - a shell in a terminal of tmux: tests send keys and read the screen."""

import atexit
import os
import shutil
import subprocess
import tempfile

from tap import await_, patience
from tool import ENVIRONMENT


class Terminal:
    def __init__(self, command="bash --norc --noprofile -i", width=100, height=30, **environment):
        """The environment is the shell's. It begins in self.directory, which goes with the terminal."""
        self.directory = tempfile.mkdtemp()
        self.socket = os.path.join(self.directory, "tmux")
        atexit.register(self.end)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "-c", self.directory,
                  " ".join(["env", "-u", "TMUX", *(f"{name}='{value}'" for name, value in environment.items()), command]))

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True,
                              timeout=patience(60)).stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def screen(self, *scrolled_off):
        return self.tmux("capture-pane", "-p", *scrolled_off)

    def await_screen(self, condition):
        """The screen once the condition holds for it, else the last one."""
        def look():
            self.last_screen = self.screen()
            return condition(self.last_screen)

        await_(look)
        return self.last_screen

    def end(self):
        atexit.unregister(self.end)
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
