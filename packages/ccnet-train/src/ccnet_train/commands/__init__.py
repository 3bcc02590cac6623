"""The commands of `ccnet-train`, a file each: `add` describes its arguments, `run` carries it out.

What takes seconds to import, such as accelerate, is imported where it is used.
"""
