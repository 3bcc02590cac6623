"""What check_interfaces.py demands, one kind of rule to a file. Each rule yields its faults as `path: fault`."""
