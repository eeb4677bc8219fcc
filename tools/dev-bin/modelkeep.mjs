#!/usr/bin/env node
// Starts the modelkeep command of this checkout.
import "../../bin/modelkeep.mjs";
