"""What is shown, made once for every surface: view models, the card, tables, tokens, text. Decides nothing."""
