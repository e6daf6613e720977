"""What is printed: tables, charts, remedies, and how errors look."""
