"""The command line: thin verbs over the Python interface, one file each."""
