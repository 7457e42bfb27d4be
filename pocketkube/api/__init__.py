"""The public API, one function or a close pair a file: `import pocketkube as pk` finds them here."""

from pocketkube.console.quiet import quiet_own_calls

quiet_own_calls()
