"""What to learn from: scores, lexicons, policies, nearest neighbours."""
