'use strict';
exports.made = 'commonjs';
exports.peek = (words) => words[0] + words[1];
