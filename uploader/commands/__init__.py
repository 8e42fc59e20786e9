"""What a person can ask of the uploader, a module a command."""
