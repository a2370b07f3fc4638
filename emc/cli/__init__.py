"""The command line: click, one library call, print."""
