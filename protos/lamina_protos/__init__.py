"""The wire contract of Lamina: the .proto files and the code generated from them. It imports nothing of ours."""
