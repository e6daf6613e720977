"""What happens next: from the status and what was seen to one verdict."""
