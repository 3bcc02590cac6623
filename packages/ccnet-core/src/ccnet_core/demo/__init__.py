"""The page of `ccnet demo`: a picture's classes and what a pixel looks at, in a browser."""
