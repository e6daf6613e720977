"""What a SERRun says and asks for, and whether it may. Pure."""
