"""What is kept: the database, the buffer, questions to the user; encrypted, forgotten, exported."""
