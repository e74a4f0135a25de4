"""Fleets of phones on Flower: the ServerApp that averages, the ClientApp that asks a phone, and the command."""
