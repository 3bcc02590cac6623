import mmseg_peer  # noqa: F401  (makes mmsegmentation importable, so before every test file)
