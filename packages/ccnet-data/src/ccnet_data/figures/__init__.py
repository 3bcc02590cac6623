"""The dataset "figures": drawn people, in the 20 parts of Look into Person.

Lengths of a figure are in heads: 1 is the height of its head. A point is a complex number, x to the right and y down,
with the middle of the head at 0. People are seen from the front, so a person's left is on the right of the picture;
`side` is 1 for the left and -1 for the right.
"""
