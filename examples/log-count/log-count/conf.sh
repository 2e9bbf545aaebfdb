# What the three programs share: where things are, how many parts, which words.
input=/home/input
output=/home/output
parts=3
words="INFO WARN DEBUG ERROR"
