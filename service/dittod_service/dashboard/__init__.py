"""What a person sees of their home in a browser: signing in, JSON paths over `dittod.serving.Dashboard`, pages."""
