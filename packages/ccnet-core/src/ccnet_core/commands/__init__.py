"""The commands of `ccnet`, a file each: `add(commands)` adds its parser, whose `run` carries it out.

A command imports at its top nothing that takes long, but for what `import ccnet_core` has loaded anyway.
"""
