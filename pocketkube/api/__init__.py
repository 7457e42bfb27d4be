"""The public API, one function or a close pair a file: `import pocketkube as pk` finds them here."""
