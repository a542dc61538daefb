"""How things look in a notebook: HTML without scripts, links or anything from elsewhere. Names of users are escaped."""
