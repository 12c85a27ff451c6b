"""How long programs take, how much memory they need, and how both grow with the views."""
