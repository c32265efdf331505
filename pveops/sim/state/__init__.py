"""What exists in the simulated cluster. Plain objects with slots; nothing here knows about load, time passing, or the API."""
