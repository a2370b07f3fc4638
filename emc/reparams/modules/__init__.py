"""The modules that reparameterisations are made of; they import torch, so the factories import them when called."""
