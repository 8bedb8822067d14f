"""Which training objective should a structured-prediction model use, and at which temperature?"""
