"""What happens at night: paraphrases, training, the gate, and the adapters that came of it."""
