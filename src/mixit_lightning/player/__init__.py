"""A page on this machine on which recordings are separated, listened to and mixed again."""
