package io.idletune.example;
