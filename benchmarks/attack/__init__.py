"""The promises under attack: kills, mutated files, hostile clients, marker words, foreign things in the home."""
