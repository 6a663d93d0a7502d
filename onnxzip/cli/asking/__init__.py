"""What is asked for beyond single options: files and folders, a file of options, completion."""
